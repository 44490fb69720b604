/** The X client that agents use, twitter-api-v2, pointed at the proxy and made to trust its CA; nothing else of it is changed. */

import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import { TwitterApi } from "twitter-api-v2";

import type { Program } from "./program.ts";

/** Credentials of nobody. */
export const X_BEARER = "AAAAAAAAAAAAAAAAAAAAAbearer-of-no-value%3D";
const USER_TOKENS = { appKey: "app-key-of-no-value", appSecret: "app-secret-of-no-value", accessToken: "7-token-of-no-value", accessSecret: "secret-of-no-value" };

export interface XClients {
  /** As an app (bearer token): searches and streams. */
  readonly app: TwitterApi;
  /** As a user (OAuth 1.0a, each request signed): posts and uploads. */
  readonly user: TwitterApi;
  /** The agent of both, for requests by hand. */
  readonly agent: Agent;
  close(): void;
}

export function xClients({ proxyUrl, caFile }: Pick<Program, "proxyUrl" | "caFile">): XClients {
  const agent = new Agent({ ca: readFileSync(caFile, "utf8"), proxyEnv: { HTTPS_PROXY: proxyUrl } });
  const settings = { httpAgent: agent };
  return { app: new TwitterApi(X_BEARER, settings), user: new TwitterApi(USER_TOKENS, settings), agent, close: () => agent.destroy() };
}
