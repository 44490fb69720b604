/**
 * Hosts that nobody has named, and that speak a protocol which a handler knows, on a path which it knows: with
 * TALLYMAN_INTERCEPT=all their responses are counted too. A path alone proves little, so an answer counts only when it
 * reports usage or names a model.
 */

import type { FlowHead } from "../flow/flow.ts";
import type { Handler, OpenedExchange, Reader, Reading, SocketReader } from "./handler.ts";

/** Finds the handler whose protocol a flow's head is of, the first of the list that recognizes it. */
export type Recognition = (head: Pick<FlowHead, "protocol" | "method" | "target">) => Handler | undefined;

export function createRecognition(handlers: readonly Handler[]): Recognition {
  const candidates = handlers.filter((handler) => handler.recognizes !== undefined).map((handler) => ({ handler, cautious: cautious(handler) }));
  return ({ protocol, method, target }) => {
    const [path = ""] = target.split("?", 1);
    return candidates.find(({ handler }) => handler.recognizes?.({ protocol, method, path }) === true)?.cautious;
  };
}

function cautious(handler: Handler): Handler {
  return { ...handler, open: (exchange, context) => cautiously(handler.open(exchange, context)) };
}

function cautiously(opened: OpenedExchange): OpenedExchange {
  const { reader, socket } = opened;
  return { ...opened, reader: reader === undefined ? undefined : ofReader(reader), ...(socket === undefined ? {} : { socket: ofSocket(socket) }) };
}

function ofReader(reader: Reader): Reader {
  return {
    ...(reader.requestData === undefined ? {} : { requestData: (chunk: Uint8Array) => reader.requestData?.(chunk) }),
    ...(reader.requestEnd === undefined ? {} : { requestEnd: () => reader.requestEnd?.() }),
    ...(reader.requestOutline === undefined ? {} : { requestOutline: () => reader.requestOutline?.() ?? { model: null, isUsageUnlikely: false } }),
    response: (head) => reader.response(head),
    push: (chunk) => reader.push(chunk),
    end: (end) => proven(reader.end(end)),
  };
}

function ofSocket(socket: SocketReader): SocketReader {
  return {
    clientMessage: (message) => socket.clientMessage(message),
    serverMessage: (message) => proven(socket.serverMessage(message)),
    end: (end) => proven(socket.end(end)),
  };
}

/** The first reading tells for all: others are of models inside the same response. */
function proven(readings: readonly Reading[]): readonly Reading[] {
  const [first] = readings;
  if (first === undefined || first.kind === "free") return readings;
  const isProven = first.kind === "measured" && (first.source === "provider" || ("responseModel" in first && first.responseModel !== null));
  return isProven ? readings : [{ kind: "free", reason: "not_recognized" }];
}
