package redis.clients.jedis;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** As much of Jedis as the example uses, with one connection. It is compiled against and run where Jedis is not available. */
public class JedisPooled implements Closeable {
    private final Socket socket;

    public JedisPooled(HostAndPort address, JedisClientConfig clientConfig) {
        DefaultJedisClientConfig config = (DefaultJedisClientConfig) clientConfig;
        try {
            socket = new Socket(address.host, address.port);
            socket.setSoTimeout(config.timeoutMillis);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        if (config.password != null) {
            call(List.of("AUTH", config.user, config.password));
        }
    }

    public StreamEntryID xadd(String key, StreamEntryID id, Map<String, String> hash) {
        List<String> command = new ArrayList<>(List.of("XADD", key, id.text));
        hash.forEach((field, value) -> {
            command.add(field);
            command.add(value);
        });
        call(command);
        return new StreamEntryID("");
    }

    private void call(List<String> command) {
        try {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            out.write(("*" + command.size() + "\r\n").getBytes(StandardCharsets.UTF_8));
            for (String word : command) {
                byte[] raw = word.getBytes(StandardCharsets.UTF_8);
                out.write(("$" + raw.length + "\r\n").getBytes(StandardCharsets.UTF_8));
                out.write(raw);
                out.write("\r\n".getBytes(StandardCharsets.UTF_8));
            }
            socket.getOutputStream().write(out.toByteArray());
            byte[] reply = new byte[512];
            int n = socket.getInputStream().read(reply);
            if (n <= 0 || reply[0] == '-') {
                throw new IllegalStateException(new String(reply, 0, Math.max(n, 0), StandardCharsets.UTF_8));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        try {
            socket.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
