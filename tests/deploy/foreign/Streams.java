import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** A reader of an event stream by the JDK's client, line by line, cut off once and then resuming: java Streams.java BASE TOKEN LAST < CUTS. */
public class Streams {
    static final Pattern SEQUENCE = Pattern.compile("\"sequence\":(\\d+)");
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(20)).build();

    public static void main(String[] arguments) throws Exception {
        String[] cuts = new String(System.in.readAllBytes()).replaceAll("[\\[\\]\\s]", "").split(",");
        ExecutorService threads = Executors.newFixedThreadPool(40);
        Map<String, Future<List<Integer>>> told = new HashMap<>();
        for (String cut : cuts) told.put(cut, threads.submit(() -> read(arguments[0], arguments[1], Integer.parseInt(arguments[2]), cut)));
        List<String> members = new ArrayList<>();
        for (var one : told.entrySet()) members.add("\"" + one.getKey() + "\": " + one.getValue().get());
        System.out.println("{\"reader\": \"Java HttpClient\", \"told\": {" + String.join(", ", members) + "}}");
        System.exit(0);
    }

    static List<Integer> read(String base, String token, int last, String cut) {
        List<Integer> told = new ArrayList<>();
        String position = "";
        for (int attempt = 0; attempt < 5; attempt++) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + "/java/" + cut)).header("authorization", "Bearer " + token);
            if (!position.isEmpty()) request.header("last-event-id", position);
            try (Stream<String> body = CLIENT.send(request.build(), BodyHandlers.ofLines()).body()) {
                String id = "", data = "";
                for (Iterator<String> lines = body.iterator(); lines.hasNext();) {
                    String line = lines.next();
                    if (line.startsWith("id: ")) id = line.substring(4);
                    if (line.startsWith("data: ")) data = line.substring(6);
                    if (!line.isEmpty()) continue;
                    if (!id.isEmpty()) position = id;
                    Matcher found = SEQUENCE.matcher(data);
                    if (found.find()) {
                        told.add(Integer.parseInt(found.group(1)));
                        if (told.get(told.size() - 1) == last) return told;
                    }
                    id = data = "";
                }
            } catch (Exception error) {
                // Cut off: again, behind the last event that was whole.
            }
        }
        return told;
    }
}
