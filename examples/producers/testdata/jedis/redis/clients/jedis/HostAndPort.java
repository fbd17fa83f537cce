package redis.clients.jedis;

public class HostAndPort {
    final String host;
    final int port;

    public HostAndPort(String host, int port) {
        this.host = host;
        this.port = port;
    }
}
