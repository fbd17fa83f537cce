"""Publish a failed login: login_failed.py ADDRESS NAME"""

import json
import os
import sys
import uuid

import redis


def login_failed(client, address, name):
    """Publish a failed login to Wardstream."""
    event = {
        "event_type": "auth.login.failed",
        "event_id": str(uuid.uuid4()),  # counts once, however often it is sent
        "source.address": address,
        "user.name": name,
    }
    client.xadd("audit:events", {"event": json.dumps(event)})


if __name__ == "__main__":
    client = redis.Redis(
        host=os.environ.get("REDIS_HOST", "localhost"),
        port=int(os.environ.get("REDIS_PORT", "6379")),
        username=os.environ.get("REDIS_USERNAME"),
        password=os.environ.get("REDIS_PASSWORD"),
        socket_timeout=1,  # a login must not wait for Redis
    )
    login_failed(client, sys.argv[1], sys.argv[2])
