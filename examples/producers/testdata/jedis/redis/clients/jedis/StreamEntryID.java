package redis.clients.jedis;

public class StreamEntryID {
    public static final StreamEntryID NEW_ENTRY = new StreamEntryID("*");

    final String text;

    StreamEntryID(String text) {
        this.text = text;
    }
}
