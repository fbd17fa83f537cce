package redisurl

// Advice says how a Redis URL is written, for the error about a text that is not one: the same
// words in every command.
const Advice = "write " + Form + " and percent-encode special characters of the password"

// Form is what a Redis URL looks like.
const Form = "redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master)"
