import java.io.FileReader;
import java.util.HashMap;
import java.util.Properties;
import org.eclipse.dataspacetck.core.system.ConsoleMonitor;
import org.eclipse.dataspacetck.runtime.ConsoleResultWriter;
import org.eclipse.dataspacetck.runtime.TckRuntime;

/** Starts every suite of the kit with the properties of a file; run from source, never compiled to disk. */
public class Run {
    public static void main(String[] args) throws Exception {
        var read = new Properties();
        try (var file = new FileReader(args[0])) {
            read.load(file);
        }
        var properties = new HashMap<String, String>();
        read.stringPropertyNames().forEach(name -> properties.put(name, read.getProperty(name)));
        var monitor = new ConsoleMonitor(Boolean.parseBoolean(properties.get("dataspacetck.debug")), false);
        var result = TckRuntime.Builder.newInstance()
                .properties(properties)
                .addPackage("org.eclipse.dataspacetck.dsp.verification")
                .monitor(monitor)
                .build()
                .execute();
        new ConsoleResultWriter(monitor).output(result);
        System.exit(0); // the kit's own threads would keep it; the caller reads the output, not this
    }
}
