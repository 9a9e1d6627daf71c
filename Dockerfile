# The image of gateway and worker: the base install, without torch or vLLM.
#   build:   docker build -t tastestream .
#   gateway: docker run -p 8000:8000 -v ./keys:/keys:ro -e TASTESTREAM_API_KEYS_FILE=/keys \
#              -e TASTESTREAM_REDIS_URL=... -e TASTESTREAM_RANKER__URL=... tastestream gateway
#            The gateway listens on all addresses and does not start without API keys, unless it is run as
#            `gateway --insecure`, for closed networks.
#   worker:  docker run -e TASTESTREAM_REDIS_URL=... -e TASTESTREAM_SUMMARIZER__URL=... tastestream worker
# BASE may be any image with Python 3.11 and its venv module.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY deploy/locks/base.txt deploy/locks/build.txt deploy/locks/
RUN python3 -m venv /opt/tastestream \
    && /opt/tastestream/bin/pip install --no-cache-dir --no-deps --require-hashes -r deploy/locks/base.txt \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r deploy/locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY model_store model_store
COPY service service
COPY workers workers
# Built with the pinned build tools; pip would fetch others without a hash.
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/wheels . \
    && /opt/tastestream/bin/pip install --no-cache-dir --no-deps --no-index /opt/wheels/*.whl

FROM ${BASE}
COPY --from=build /opt/tastestream /opt/tastestream
ENV PATH=/opt/tastestream/bin:$PATH PYTHONUNBUFFERED=1 \
    TASTESTREAM_HOST=0.0.0.0 TASTESTREAM_DATA_DIR=/data
RUN mkdir /data && chown 10001:10001 /data
VOLUME /data
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["tastestream"]
CMD ["gateway"]
