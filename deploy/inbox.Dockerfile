# The door for senders: OpenSSH that only takes files.
ARG DEBIAN=debian:trixie-20260803-slim@sha256:3a39a0592364683e6bab97937b72cad5a8fa6dcbbee90edb3bb48c7f8e94f258
FROM ${DEBIAN}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-server libnss-extrausers \
    && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
    && groupadd --gid 999 ndc \
    && groupadd --gid 2000 senders \
    && sed -i 's/^passwd:.*/passwd: files extrausers/' /etc/nsswitch.conf \
    && install -d -m 0755 /srv/inbox
COPY --chmod=0755 deploy/inbox/start deploy/inbox/is-well /usr/local/sbin/
COPY --chmod=0644 deploy/inbox/sshd_config /etc/ssh/sshd_config
# sshd starts as root: it changes into each sender's folder and account. Compose leaves it the rights for that and no others.
# hadolint ignore=DL3002
USER 0:0
ENTRYPOINT ["/usr/local/sbin/start"]
