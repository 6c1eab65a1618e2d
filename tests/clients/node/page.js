// The page: gets a session from its backend and writes what the client hears into itself.

import { AIServiceSpeechRealtimeApi } from "@oracle/oci-ai-speech-realtime-web";

function show(list, text) {
  const item = document.createElement("li");
  item.textContent = text;
  document.getElementById(list).append(item);
}

const listener = {
  onConnect() {},
  onConnectMessage(message) {
    document.title = message.sessionId;
  },
  onAckAudio() {},
  onResult(message) {
    const { isFinal, transcription } = message.transcriptions[0];
    document.getElementById("partial").textContent = isFinal ? "" : transcription;
    if (isFinal) show("finals", transcription);
  },
  onError(error) {
    show("errors", error.message);
  },
  onClose() {
    document.title = "closed";
  },
};

async function speak() {
  const { endpoint, token, compartmentId } = await (await fetch("session")).json();
  const client = new AIServiceSpeechRealtimeApi(listener, token, compartmentId, endpoint);
  client.connect();
  document.getElementById("stop").addEventListener("click", client.close);
}

document.getElementById("speak").addEventListener("click", speak);
