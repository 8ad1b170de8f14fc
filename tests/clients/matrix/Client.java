import java.net.Authenticator;
import java.net.PasswordAuthentication;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** Java's own client. The proxy's address comes from Java's properties, its user from https_proxy. */
final class Client {
    public static void main(String[] arguments) throws Exception {
        var user = URI.create(System.getenv("https_proxy")).getUserInfo().split(":", 2);
        var authenticator =
                new Authenticator() {
                    @Override
                    protected PasswordAuthentication getPasswordAuthentication() {
                        return new PasswordAuthentication(user[0], user[1].toCharArray());
                    }
                };
        var client =
                HttpClient.newBuilder()
                        .proxy(ProxySelector.getDefault())
                        .authenticator(authenticator)
                        .build();
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        var answer = client.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException("" + answer.statusCode());
        }
        System.out.println(answer.body());
    }
}
