/**
 * The hosts of Bedrock (reference/model-usage.md section 4.1; endpoint rules of `@aws-sdk/client-bedrock-runtime`
 * 3.1163.0, partitions of `@aws-sdk/core` 3.981.0, read 2026-11-22):
 *
 *     SERVICE[-fips].REGION.amazonaws.com            SERVICE[-fips].REGION.api.aws (dual stack)
 *     ENDPOINT.SERVICE[-fips].REGION.vpce.amazonaws.com  (a VPC's own endpoint)
 */

import type { HostPattern } from "../../handler.ts";

/** Models, their OpenAI- and Anthropic-shaped front, and the control plane. */
export type BedrockService = "bedrock-runtime" | "bedrock-mantle" | "bedrock";

interface Partition {
  readonly suffix: string;
  readonly dualStackSuffix: string;
}

const PARTITIONS: readonly Partition[] = [
  { suffix: "amazonaws.com", dualStackSuffix: "api.aws" },
  { suffix: "amazonaws.com.cn", dualStackSuffix: "api.amazonwebservices.com.cn" },
  { suffix: "amazonaws.eu", dualStackSuffix: "api.amazonwebservices.eu" },
];

const SERVICES: readonly BedrockService[] = ["bedrock-runtime", "bedrock-mantle", "bedrock"];

export const BEDROCK_HOSTS: readonly HostPattern[] = PARTITIONS.flatMap((partition) => SERVICES.flatMap((service) => hostsOf(service, partition)));

/** Which service a host is of; undefined: none, such as a gateway that an operator bound to Bedrock. */
export function serviceOf(host: string): BedrockService | undefined {
  const labels = new Set(host.split(".").map((label) => label.replace(/-fips$/, "")));
  return SERVICES.find((service) => labels.has(service));
}

function hostsOf(service: BedrockService, { suffix, dualStackSuffix }: Partition): readonly HostPattern[] {
  switch (service) {
    case "bedrock-runtime":
      return [service, `${service}-fips`].flatMap((name) => [`${name}.*.${suffix}`, `${name}.*.${dualStackSuffix}`, `*.${name}.*.vpce.${suffix}`]);
    case "bedrock-mantle":
      return [`${service}.*.${dualStackSuffix}`, `*.${service}.*.vpce.${suffix}`];
    case "bedrock":
      // It costs nothing: its rarer names are not worth a termination.
      return [`${service}.*.${suffix}`, `${service}.*.${dualStackSuffix}`];
  }
}
