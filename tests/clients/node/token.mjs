// A backend: mints a token with the SDK and writes it out. Arguments: server, configuration
// file of an OCI SDK, compartment.

import speech from "oci-aispeech";
import common from "oci-common";

const [url, configFile, compartmentId] = process.argv.slice(2);

const client = new speech.AIServiceSpeechClient({
  authenticationDetailsProvider: new common.ConfigFileAuthenticationDetailsProvider(configFile),
});
client.endpoint = url;
const answer = await client.createRealtimeSessionToken({
  createRealtimeSessionTokenDetails: { compartmentId, freeformTags: { project: "node" } },
});
client.close();
console.log(JSON.stringify(answer));
