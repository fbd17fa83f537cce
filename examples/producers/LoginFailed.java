import java.util.Map;
import java.util.UUID;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.StreamEntryID;

/** Publish a failed login: java LoginFailed ADDRESS NAME */
public final class LoginFailed {
    private LoginFailed() {}

    /** Publishes a failed login to Wardstream. */
    static void loginFailed(JedisPooled redis, String address, String name) {
        String event = "{\"event_type\":\"auth.login.failed\""
                + ",\"event_id\":" + quote(UUID.randomUUID().toString()) // counts once, however often it is sent
                + ",\"source.address\":" + quote(address)
                + ",\"user.name\":" + quote(name) + "}";
        redis.xadd("audit:events", StreamEntryID.NEW_ENTRY, Map.of("event", event));
    }

    /** Writes a JSON string; an application uses the JSON library it has. */
    static String quote(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    public static void main(String[] args) {
        Map<String, String> env = System.getenv();
        HostAndPort address = new HostAndPort(
                env.getOrDefault("REDIS_HOST", "localhost"), Integer.parseInt(env.getOrDefault("REDIS_PORT", "6379")));
        DefaultJedisClientConfig config = DefaultJedisClientConfig.builder()
                .user(env.get("REDIS_USERNAME"))
                .password(env.get("REDIS_PASSWORD"))
                .timeoutMillis(1000) // a login must not wait for Redis
                .build();
        try (JedisPooled redis = new JedisPooled(address, config)) {
            loginFailed(redis, args[0], args[1]);
        }
    }
}
