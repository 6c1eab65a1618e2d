// Streams raw audio (standard input: 16 kHz, mono, 16 bit) with its own credentials and writes
// out what came back. Arguments: server's websocket, configuration file of an OCI SDK, compartment.

import realtime from "@oracle/oci-ai-speech-realtime";
import common from "oci-common";
import { buffer } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";

const CHUNK_BYTES = 3072; // 96 ms
const CHUNK_EVERY_MS = 20;

const [url, configFile, compartmentId] = process.argv.slice(2);
const came = { connects: [], partials: [], finals: [], acks: [], errors: [] };

const closed = new Promise((resolve) => {
  const listener = {
    onConnect() {},
    onConnectMessage(message) {
      came.connects.push(message);
      send();
    },
    onAckAudio(message) {
      came.acks.push(message.details);
    },
    onResult(message) {
      const { isFinal, transcription } = message.transcriptions[0];
      (isFinal ? came.finals : came.partials).push(transcription);
      if (isFinal) client.close();
    },
    onError(error) {
      came.errors.push(error.message);
      client.close();
    },
    onClose: resolve,
  };
  const client = new realtime.RealtimeSpeechClient(
    listener,
    new common.ConfigFileAuthenticationDetailsProvider(configFile),
    null,
    compartmentId,
    url,
    {
      languageCode: "en-US",
      modelDomain: "GENERIC",
      encoding: "audio/raw;rate=16000",
      isAckEnabled: true,
    },
  );

  async function send() {
    const audio = await buffer(process.stdin);
    for (let at = 0; at < audio.length; at += CHUNK_BYTES) {
      client.sendAudioData(audio.subarray(at, at + CHUNK_BYTES));
      await setTimeout(CHUNK_EVERY_MS);
    }
    client.requestFinalResult();
  }

  client.connect();
});

await closed;
console.log(JSON.stringify(came));
