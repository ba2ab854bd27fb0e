import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * Refused requests and good ones in turn, by one client of the JDK. Prints a line of JSON: java Refused.java BASE TOKEN ROUNDS. The client
 * of JDK 17 waits for ever where it asked to be told to go on and is refused instead (JDK-8286171), so it asks only where it is told.
 */
public class Refused {
    record Refusal(int status, String method, String path, String token, String type, int size, boolean chunked, boolean expects) {}

    public static void main(String[] arguments) {
        String base = arguments[0], good = arguments[1], bad = "x".repeat(40), json = "application/json";
        List<Refusal> refusals = List.of(
            new Refusal(401, "POST", "/v1/messages", bad, json, 53, false, false),
            new Refusal(401, "POST", "/v1/messages", bad, json, 200_000, false, false),
            new Refusal(401, "POST", "/v1/messages", bad, json, 53, true, false),
            new Refusal(401, "POST", "/v1/messages", bad, json, 200_000, true, false),
            new Refusal(404, "POST", "/v1/nothing", good, json, 53, false, false),
            new Refusal(405, "PUT", "/v1/messages", good, json, 60_000, false, false),
            new Refusal(413, "POST", "/v1/messages", good, json, 400_000, false, false),
            new Refusal(413, "POST", "/v1/messages", good, json, 400_000, true, false),
            new Refusal(415, "POST", "/v1/messages", good, "text/plain", 53, false, false),
            new Refusal(400, "POST", "/v1/messages", good, json, 53, false, true));
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(20)).build();
        List<String> failed = new ArrayList<>();
        int count = 0;
        for (int round = 0; round < Integer.parseInt(arguments[2]); round++) {
            for (Refusal refusal : refusals) {
                count++;
                byte[] bytes = "x".repeat(refusal.size).getBytes();
                BodyPublisher body = refusal.chunked ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes)) : BodyPublishers.ofByteArray(bytes);
                HttpRequest request = HttpRequest.newBuilder(URI.create(base + refusal.path)).method(refusal.method, body).timeout(Duration.ofSeconds(20))
                    .header("authorization", "Bearer " + refusal.token).header("content-type", refusal.type).expectContinue(refusal.expects).build();
                String status = status(client, request);
                if (!status.equals("" + refusal.status)) failed.add("refused " + refusal + ": " + status);
                String next = status(client, HttpRequest.newBuilder(URI.create(base + "/healthz")).timeout(Duration.ofSeconds(20)).build());
                if (!next.equals("200")) failed.add("good after " + refusal + ": " + next);
            }
        }
        List<String> quoted = failed.stream().map(text -> "\"" + text.replace("\\", "").replace("\"", "'") + "\"").toList();
        System.out.println("{\"client\": \"Java HttpClient\", \"good\": " + count + ", \"refused\": " + count + ", \"failed\": " + quoted + "}");
    }

    static String status(HttpClient client, HttpRequest request) {
        try {
            return "" + client.send(request, BodyHandlers.ofString()).statusCode();
        } catch (Exception error) {
            return error.toString();
        }
    }
}
