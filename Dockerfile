# The image of smlmbatch, for Docker, Podman and Buildah; apptainer.def makes a SIF of it.  jobs/image.sh builds it with all it should know:
#
#   jobs/image.sh cpu            or   docker build --build-arg LOCK=cpu --tag smlmbatch:cpu .
#
# BASE is a Debian or Ubuntu with Python 3.11 or newer, or with apt to get one. torch's wheels carry CUDA's libraries, so a slim one
# serves GPUs too; take one of CUDA's own bases if your site asks for it. What lies in wheels/ is taken instead of the network.
ARG BASE=python:3.11-slim-bookworm

# ---- packages of the lock file; made again only when that changes
FROM ${BASE} AS packages
# cuda or cpu: requirements-$LOCK.lock.txt
ARG LOCK=cuda
# A further index for pip. torch's CPU build lies on one of its own (pytorch.org says where).
ARG TORCH_INDEX=""
COPY requirements-${LOCK}.lock.txt jobs/image/packages.sh /build/
RUN --mount=type=bind,source=wheels,target=/wheels bash /build/packages.sh "/build/requirements-${LOCK}.lock.txt" /wheels "${TORCH_INDEX}"

# ---- smlmbatch itself, with its kernels compiled
FROM packages AS program
ARG VERSION=unknown
ARG REVISION=unknown
ARG LOCK=cuda
ARG SOURCE_DATE_EPOCH=0
COPY pyproject.toml README.md LICENSE /source/
COPY jobs /source/jobs
COPY smlmbatch /source/smlmbatch
RUN bash /source/jobs/image/program.sh /source "smlmbatch-${LOCK}" "${VERSION}" "${REVISION}"

# ---- what is shipped
FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
ARG LOCK=cuda
LABEL org.opencontainers.image.title="smlmbatch" \
      org.opencontainers.image.description="Reproducible batch analysis of single-molecule localisation microscopy" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      smlmbatch.packages="${LOCK}"
COPY --from=packages /system /
COPY --from=packages /opt/venv /opt/venv
COPY --from=program /opt/smlmbatch /opt/smlmbatch
# Python of the site, of the user's HOME or of the folder it is started in must not get in; nothing is written into the image.
ENV PATH=/opt/smlmbatch/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONNOUSERSITE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["smlmbatch"]
CMD ["--help"]
