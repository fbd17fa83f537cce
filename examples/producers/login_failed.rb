# Publish a failed login: login_failed.rb ADDRESS NAME
require "json"
require "redis"
require "securerandom"

# Publishes a failed login to Wardstream.
def login_failed(redis, address, name)
  event = {
    "event_type" => "auth.login.failed",
    "event_id" => SecureRandom.uuid, # counts once, however often it is sent
    "source.address" => address,
    "user.name" => name
  }
  redis.xadd("audit:events", { "event" => JSON.generate(event) })
end

if $PROGRAM_NAME == __FILE__
  redis = Redis.new(
    host: ENV.fetch("REDIS_HOST", "localhost"),
    port: Integer(ENV.fetch("REDIS_PORT", "6379")),
    username: ENV["REDIS_USERNAME"],
    password: ENV["REDIS_PASSWORD"],
    timeout: 1 # a login must not wait for Redis
  )
  login_failed(redis, ARGV.fetch(0), ARGV.fetch(1))
end
