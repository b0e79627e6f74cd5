# Build four images: service, monitor, forwarder, tools.
#   docker build --target service -t driftline-service .
# Packages are installed from the hash-pinned locks, so the same locks give the same images.

FROM python:3.11.14-slim-trixie@sha256:193fdd0bbcb3d2ae612bd6cc3548d2f7c78d65b549fcaa8af75624c47474444d AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/driftline/bin:$PATH \
    DRIFTLINE_HOME=/var/lib/driftline \
    BENTOML_HOME=/var/lib/driftline/bentoml \
    BENTOML_DO_NOT_TRACK=True \
    DO_NOT_TRACK=1
# Fixed ids, so that volumes keep their owner and group from one image to the next.
RUN groupadd --system --gid 10001 driftline \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/driftline driftline \
    && mkdir -p /var/lib/driftline \
    && chown driftline:driftline /var/lib/driftline
WORKDIR /opt/driftline

# The installers stay in this stage; the environments contain no pip.
FROM base AS build
COPY requirements/bootstrap.lock requirements/
RUN python -m venv --without-pip /opt/driftline \
    && python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r requirements/bootstrap.lock
ENV VIRTUAL_ENV=/opt/driftline UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
COPY deploy/slim.py /opt/slim.py

# The wheels are installed, because the service reads its version from the installed package.
FROM build AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY server/ server/
COPY access/ access/
COPY telemetry/ telemetry/
COPY eventlog/ eventlog/
COPY registry/ registry/
COPY service/ service/
COPY monitoring/ monitoring/
COPY driftline/ driftline/
COPY loadtests/ loadtests/
RUN /opt/uv/bin/hatchling build -t wheel -d /wheel
WORKDIR /src/server
RUN /opt/uv/bin/hatchling build -t wheel -d /wheel

FROM build AS build-service
COPY requirements/service.lock requirements/
RUN /opt/uv/bin/uv pip install --require-hashes --no-deps -r requirements/service.lock \
    && python /opt/slim.py /opt/driftline
COPY --from=wheel /wheel /wheel
RUN /opt/uv/bin/uv pip install --no-deps /wheel/*.whl

FROM build AS build-monitor
COPY requirements/monitoring.lock requirements/
RUN /opt/uv/bin/uv pip install --require-hashes --no-deps -r requirements/monitoring.lock \
    && python /opt/slim.py /opt/driftline
COPY --from=wheel /wheel /wheel
RUN /opt/uv/bin/uv pip install --no-deps /wheel/*.whl

FROM base AS service
LABEL org.opencontainers.image.title="Driftline service" \
      org.opencontainers.image.description="Predicts over REST and gRPC and logs every answer"
COPY --from=build-service /opt/driftline /opt/driftline
USER 10001
VOLUME /var/lib/driftline
EXPOSE 3000 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-m", "driftline", "probe", "http://127.0.0.1:3000/v2/health/ready"]
ENTRYPOINT ["python", "-m", "driftline"]
CMD ["serve", "--host", "0.0.0.0"]

FROM base AS monitor
LABEL org.opencontainers.image.title="Driftline monitor" \
      org.opencontainers.image.description="Computes drift and performance and requests retraining"
COPY --from=build-monitor /opt/driftline /opt/driftline
USER 10001
VOLUME /var/lib/driftline
EXPOSE 3100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-m", "driftline", "probe", "http://127.0.0.1:3100/health"]
ENTRYPOINT ["python", "-m", "driftline"]
CMD ["monitor", "--host", "0.0.0.0"]

# The forwarder needs only packages of the service, so it shares the service's layers.
FROM service AS forwarder
LABEL org.opencontainers.image.title="Driftline forwarder" \
      org.opencontainers.image.description="Forwards the event log to Kafka"
HEALTHCHECK NONE
CMD ["forward"]

# Single commands, such as registering: docker run ... driftline-tools register ...
FROM service AS tools
LABEL org.opencontainers.image.title="Driftline tools" \
      org.opencontainers.image.description="Registers models and moves aliases"
HEALTHCHECK NONE
CMD ["models"]
