# The sidecar's image. What each setting is for, and how an agent reaches it: docs/operations.md, "Containers".

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY src src
RUN npm run build
RUN npm prune --omit=dev --no-audit --no-fund

FROM node:24-bookworm-slim
WORKDIR /app
# The volume, and the folder into which the public certificate is exported (a volume mounted there takes its owner over).
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/tallyman \
 && install -d -o 10001 -g 10001 -m 0755 /ca
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY deploy/healthcheck.mjs ./

ENV NODE_ENV=production \
    TALLYMAN_CA_DIR=/var/lib/tallyman/certs \
    TALLYMAN_DATA_DIR=/var/lib/tallyman/data \
    TALLYMAN_HOST=0.0.0.0 \
    TALLYMAN_PORT=8080 \
    TALLYMAN_ADMIN_HOST=127.0.0.1 \
    TALLYMAN_ADMIN_PORT=9090

VOLUME /var/lib/tallyman
EXPOSE 8080
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["node", "/app/healthcheck.mjs"]
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["serve"]
