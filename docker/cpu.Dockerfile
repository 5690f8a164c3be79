# gdopt on the CPU, for any machine: the command line, its tests and its benchmark.
#
#   docker build -f docker/cpu.Dockerfile -t gdopt:cpu .
#   docker run gdopt:cpu train
#
# docker/README.md tells the rest. Nothing is installed that docker/requirements does
# not name with its hash.
FROM docker.io/library/python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS base

FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore
# Neither environment gets a pip of its own: the base image's installs into both.
RUN python -m venv --without-pip /build/venv \
 && python -m venv --without-pip /opt/gdopt/venv
COPY docker/requirements /build/requirements
RUN pip --python /build/venv/bin/python install --require-hashes \
      -r /build/requirements/build.txt \
 && pip --python /opt/gdopt/venv/bin/python install --require-hashes \
      -r /build/requirements/cpu.txt
COPY gdopt /build/source/gdopt
COPY pyproject.toml README.md LICENSE /build/source/
RUN pip --python /build/venv/bin/python wheel --no-build-isolation --no-deps \
      --only-binary=:none: --wheel-dir /build/wheels /build/source \
 && pip --python /opt/gdopt/venv/bin/python install --no-index --no-deps \
      /build/wheels/*.whl
# The suite: what `gdopt bench` and the tests run, beside the wheel that they try.
COPY . /opt/gdopt/suite
# Read by everyone, written by nobody, whatever the modes in the checkout.
RUN rm -rf /opt/gdopt/suite/gdopt \
 && chmod -R a+rX,go-w /opt/gdopt

FROM base AS final
RUN pip uninstall --yes --root-user-action=ignore pip \
 && install -d -m 1777 /cache /work
COPY --from=build /opt/gdopt /opt/gdopt
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="gdopt" \
      org.opencontainers.image.description="Gradient descent for people who hold arrays, on the CPU" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/gdopt/venv/bin:$PATH \
    HOME=/cache \
    XDG_CACHE_HOME=/cache \
    MPLCONFIGDIR=/cache/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GDOPT_BENCH_COMMIT=${REVISION} \
    GDOPT_BENCH_SUITE=/opt/gdopt/suite/bench \
    GDOPT_IMAGE=gdopt:cpu
USER 10001:10001
WORKDIR /work
VOLUME ["/cache", "/work"]
# Ctrl-C's signal: a training that `docker stop` ends leaves its folder whole.
STOPSIGNAL SIGINT
# Light, so that it disturbs no benchmark.
HEALTHCHECK --interval=5m --timeout=30s --start-period=30s --retries=3 \
  CMD ["gdopt", "--version"]
ENTRYPOINT ["gdopt"]
CMD ["--help"]
