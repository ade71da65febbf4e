import java.io.FileReader;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Properties;
import org.eclipse.dataspacetck.core.system.ConsoleMonitor;
import org.eclipse.dataspacetck.runtime.TckRuntime;

/** Runs one group of the kit with the properties of a file; run from source, never compiled to disk. */
public class Run {
    public static void main(String[] args) throws Exception {
        var read = new Properties();
        try (var file = new FileReader(args[0])) {
            read.load(file);
        }
        var properties = new HashMap<String, String>();
        read.stringPropertyNames().forEach(name -> properties.put(name, read.getProperty(name)));
        var runtime = TckRuntime.Builder.newInstance().properties(properties);
        Arrays.stream(args).skip(1).forEach(runtime::addPackage);
        var result = runtime.monitor(new ConsoleMonitor(true, false)).build().execute();
        result.getFailures().forEach(failure -> System.out.println(
                "FAILURE\t" + failure.getTestIdentifier().getUniqueId() + "\t"
                        + String.valueOf(failure.getException()).replaceAll("\\s+", " ")));
        System.out.println("COUNTS\t" + result.getTestsFoundCount() + "\t"
                + result.getTestsSucceededCount() + "\t" + result.getTestsFailedCount() + "\t"
                + result.getTestsSkippedCount());
        System.exit(0); // the kit's own threads would keep it; the caller reads the output, not this
    }
}
