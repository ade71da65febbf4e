// What Maven's repository has no module of at this version: the data plane's pull endpoint and the
// key pair of its tokens. EDC issues, checks and revokes; this fetches what EDC says may be fetched.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.security.GeneralSecurityException;
import java.security.KeyPairGenerator;
import java.security.spec.ECGenParameterSpec;
import java.util.Base64;
import java.util.Map;
import org.eclipse.edc.connector.dataplane.spi.Endpoint;
import org.eclipse.edc.connector.dataplane.spi.iam.DataPlaneAuthorizationService;
import org.eclipse.edc.connector.dataplane.spi.iam.PublicEndpointGeneratorService;
import org.eclipse.edc.runtime.metamodel.annotation.Inject;
import org.eclipse.edc.spi.security.Vault;
import org.eclipse.edc.spi.system.ServiceExtension;
import org.eclipse.edc.spi.system.ServiceExtensionContext;
import org.eclipse.edc.spi.types.domain.DataAddress;

public class Pull implements ServiceExtension {
    private static final String SOURCE = "https://w3id.org/edc/v0.0.1/ns/baseUrl";

    @Inject
    private Vault vault;

    @Inject
    private PublicEndpointGeneratorService endpoints;

    @Inject
    private DataPlaneAuthorizationService authorization;

    private HttpServer server;

    @Override
    public String name() {
        return "Pull endpoint of the interop runtime";
    }

    @Override
    public void initialize(ServiceExtensionContext context) {
        var port = context.getConfig().getInteger("interop.pull.port");
        try {
            var generator = KeyPairGenerator.getInstance("EC");
            generator.initialize(new ECGenParameterSpec("secp256r1"));
            var pair = generator.generateKeyPair();
            vault.storeSecret("private-key", pem("PRIVATE KEY", pair.getPrivate().getEncoded()));
            vault.storeSecret("public-key", pem("PUBLIC KEY", pair.getPublic().getEncoded()));
            server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        } catch (GeneralSecurityException | IOException error) {
            throw new IllegalStateException(error);
        }
        server.createContext("/", this::answer);
        var url = "http://127.0.0.1:" + port + "/public";
        endpoints.addGeneratorFunction("HttpData", address -> Endpoint.url(url));
    }

    @Override
    public void start() {
        server.start();
    }

    @Override
    public void shutdown() {
        server.stop(0);
    }

    private void answer(HttpExchange call) throws IOException {
        try (call) {
            var token = call.getRequestHeaders().getFirst("Authorization");
            var allowed = token == null ? null : authorization.authorize(token, Map.of());
            if (allowed == null || allowed.failed()) {
                call.sendResponseHeaders(403, -1);
                return;
            }
            try (var source = open(allowed.getContent())) {
                call.sendResponseHeaders(200, 0);
                source.transferTo(call.getResponseBody());
            }
        }
    }

    private static java.io.InputStream open(DataAddress source) throws IOException {
        return URI.create(source.getStringProperty(SOURCE)).toURL().openStream();
    }

    private static String pem(String what, byte[] der) {
        var text = Base64.getMimeEncoder(64, "\n".getBytes()).encodeToString(der);
        return "-----BEGIN " + what + "-----\n" + text + "\n-----END " + what + "-----\n";
    }
}
