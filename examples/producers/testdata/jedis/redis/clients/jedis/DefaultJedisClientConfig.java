package redis.clients.jedis;

public final class DefaultJedisClientConfig implements JedisClientConfig {
    String user;
    String password;
    int timeoutMillis;

    public static Builder builder() {
        return new Builder();
    }

    public static class Builder {
        private final DefaultJedisClientConfig config = new DefaultJedisClientConfig();

        public Builder user(String user) {
            config.user = user;
            return this;
        }

        public Builder password(String password) {
            config.password = password;
            return this;
        }

        public Builder timeoutMillis(int timeoutMillis) {
            config.timeoutMillis = timeoutMillis;
            return this;
        }

        public DefaultJedisClientConfig build() {
            return config;
        }
    }
}
