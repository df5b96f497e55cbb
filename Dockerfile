# One image for `ndc` and every Airflow component; docker-compose.yml says which of them a container is.
ARG PYTHON=python:3.11.17-slim-trixie@sha256:0dd364ba7e10242f07755449e3a3d0e35f9efd987952737b90def6709ab0c5ce

FROM ${PYTHON} AS packages
WORKDIR /build
COPY setup.cfg pyproject.toml constraints.txt ./
# The packages alone, so that a change of the code does not fetch them again; the environment itself has no pip.
RUN python3 -m venv --without-pip /opt/venv \
    && python3 -m pip --python /opt/venv/bin/python install --no-cache-dir --only-binary :all: -c constraints.txt ".[airflow]"

FROM ${PYTHON}
# 999 is the number of the accounts of the warehouse and the broker, too: the owner of the files of secrets.
RUN groupadd --gid 999 ndc \
    && useradd --uid 999 --gid 999 --no-create-home --home-dir /var/lib/ndc --shell /usr/sbin/nologin ndc \
    && install -d -o ndc -g ndc -m 0700 /var/lib/ndc /var/log/airflow \
    && install -d -m 0755 /srv/inbox
COPY --from=packages /opt/venv /opt/venv
COPY . /opt/ndc
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/ndc \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NDC_HOME=/var/lib/ndc \
    NDC_INBOX=/srv/inbox \
    AIRFLOW_HOME=/run/airflow \
    GX_ANALYTICS_ENABLED=false
RUN python -m compileall -q /opt/ndc
WORKDIR /opt/ndc
USER 999:999
CMD ["ndc", "--help"]
