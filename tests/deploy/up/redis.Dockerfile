# Stands in for redis: Debian's.
FROM localhost/standin-debian
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* /etc/redis
