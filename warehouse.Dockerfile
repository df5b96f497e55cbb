# PostgreSQL with pgaudit, from the same packages as the base image's server.
FROM postgres:18-trixie
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-18-pgaudit \
    && rm -rf /var/lib/apt/lists/*
