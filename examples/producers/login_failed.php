<?php
// Publish a failed login: login_failed.php ADDRESS NAME
declare(strict_types=1);

/** Publishes a failed login to Wardstream. */
function loginFailed(Redis $redis, string $address, string $name): void
{
    $event = [
        'event_type' => 'auth.login.failed',
        'event_id' => bin2hex(random_bytes(16)), // counts once, however often it is sent
        'source.address' => $address,
        'user.name' => $name,
    ];
    if ($redis->xAdd('audit:events', '*', ['event' => json_encode($event, JSON_THROW_ON_ERROR)]) === false) {
        throw new RedisException($redis->getLastError() ?? 'XADD failed');
    }
}

$redis = new Redis();
$redis->connect(getenv('REDIS_HOST') ?: 'localhost', (int) (getenv('REDIS_PORT') ?: 6379), 1.0);
$redis->setOption(Redis::OPT_READ_TIMEOUT, 1); // a login must not wait for Redis
if (getenv('REDIS_PASSWORD') !== false) {
    $redis->auth([getenv('REDIS_USERNAME') ?: 'default', getenv('REDIS_PASSWORD')]);
}
loginFailed($redis, $argv[1], $argv[2]);
