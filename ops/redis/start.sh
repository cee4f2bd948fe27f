#!/bin/sh
# Starts Redis with the users of users.acl: `start.sh OPTION...`, options of redis-server.
# Each user whose password is in REDIS_<USER>_PASSWORD is switched on, by its SHA-256.
# REDIS_ALSO: commands and keys for engine, worker and web: "+json.get +json.set" where
# accounts are RedisJSON, "~name*" for each queue of the game that callbacks go to.
# ACL_FILE: where the list is written that Redis reads.
set -eu
umask 077

list=${ACL_FILE:-/tmp/users.acl}
grep '^user ' "$(dirname "$0")/users.acl" > "$list"
for name in admin engine bot worker web flower; do
    secret=$(printenv "REDIS_$(printf %s "$name" | tr a-z A-Z)_PASSWORD" || true)
    [ -n "$secret" ] || continue
    digest=$(printf %s "$secret" | sha256sum | cut -d ' ' -f 1)
    sed "s/^user $name off /user $name on #$digest /" "$list" > "$list.new"
    mv "$list.new" "$list"
done
if [ -n "${REDIS_ALSO:-}" ]; then
    sed -E "s/^user (engine|worker|web) .*/& $REDIS_ALSO/" "$list" > "$list.new"
    mv "$list.new" "$list"
fi
exec redis-server --aclfile "$list" "$@"
