# Stands in for deploy/warehouse.Dockerfile: Debian's PostgreSQL 15 with its pgaudit, and what we use of the image's start.
FROM localhost/standin-debian
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends postgresql-15 postgresql-15-pgaudit \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql \
    && usermod -u 999 postgres && groupmod -g 999 postgres \
    && install -d -o 999 -g 999 -m 0755 /var/lib/postgresql /var/run/postgresql
COPY --chmod=0755 postgres-start /usr/local/bin/postgres-start
ENV PATH=/usr/lib/postgresql/15/bin:$PATH
USER 999:999
ENTRYPOINT ["postgres-start"]
