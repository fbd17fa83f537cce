// Publish a failed login: login_failed.js ADDRESS NAME
const { randomUUID } = require("node:crypto");
const Redis = require("ioredis");

// loginFailed publishes a failed login to Wardstream.
async function loginFailed(redis, address, name) {
  const event = {
    event_type: "auth.login.failed",
    event_id: randomUUID(), // counts once, however often it is sent
    "source.address": address,
    "user.name": name,
  };
  await redis.xadd("audit:events", "*", "event", JSON.stringify(event));
}

async function main() {
  const redis = new Redis({
    host: process.env.REDIS_HOST || "localhost",
    port: Number(process.env.REDIS_PORT || 6379),
    username: process.env.REDIS_USERNAME,
    password: process.env.REDIS_PASSWORD,
    enableReadyCheck: false, // it would need INFO, which a producer may not have
    commandTimeout: 1000, // a login must not wait for Redis
  });
  try {
    await loginFailed(redis, process.argv[2], process.argv[3]);
  } finally {
    redis.disconnect();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
