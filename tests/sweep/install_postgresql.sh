#!/bin/sh
# Installs what tests/sweep/test_server.py starts: PostgreSQL from Debian's packages, without a cluster of its own.
set -eu
mkdir -p /etc/postgresql-common
grep -qs '^create_main_cluster' /etc/postgresql-common/createcluster.conf \
    || echo 'create_main_cluster = false' >> /etc/postgresql-common/createcluster.conf
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends postgresql
