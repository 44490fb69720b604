/**
 * Chooses the reader of an InvokeModel exchange by the model, or, where an ARN does not name it, by the request:
 * bodies for Claude must have `anthropic_version` (reference/model-usage.md section 5.13.2).
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { ReadEnd, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createAnthropicMessagesReader } from "./anthropic-messages.ts";
import { familyOf } from "./bedrock-model.ts";
import { createImageReader, createNativeReader, createRerankReader, createVectorReader } from "./bedrock-native.ts";
import type { BedrockRequest } from "./bedrock-request.ts";

/** The reader of the vendor's own format: JSON bodies and server-sent events. */
export function createInvokeReader(context: ReaderContext, asked: BedrockRequest): Reader {
  switch (familyOf(asked.model)) {
    case "claude":
      return createAnthropicMessagesReader(context);
    case "embeddings":
      return createVectorReader(context, asked);
    case "image":
      return createImageReader(context, asked);
    case "rerank":
      return createRerankReader(context, asked);
    case "text":
      return createNativeReader(context, asked);
    case "opaque":
      return new ByRequestReader(createAnthropicMessagesReader(context), createNativeReader(context, asked));
  }
}

const VERSION_PATHS: readonly JsonPath[] = [["anthropic_version"]];
const MAX_VERSION_BYTES = 256;

/** Shows both readers the request, and the one that it is for the response. */
class ByRequestReader implements Reader {
  private readonly claude: Reader;
  private readonly native: Reader;
  private chosen: Reader;
  private hasResponse = false;
  private readonly scan = createJsonScan({
    paths: VERSION_PATHS,
    maxValueBytes: MAX_VERSION_BYTES,
    onValue: () => {
      // A request may go on beside its response: what it shows then comes too late.
      if (!this.hasResponse) this.chosen = this.claude;
    },
  });

  constructor(claude: Reader, native: Reader) {
    this.claude = claude;
    this.native = native;
    this.chosen = native;
  }

  requestData(chunk: Uint8Array): void {
    this.scan.push(chunk);
    this.claude.requestData?.(chunk);
    this.native.requestData?.(chunk);
  }

  response(head: ResponseHead): void {
    this.hasResponse = true;
    this.chosen.response(head);
  }

  push(chunk: Uint8Array): void {
    this.chosen.push(chunk);
  }

  end(end: ReadEnd): readonly Reading[] {
    return this.chosen.end(end);
  }
}
