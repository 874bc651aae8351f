// A gRPC backend as most are written in Node: @grpc/grpc-js with the messages of @grpc/proto-loader, which protobufjs
// decodes. It answers every request with what the decoder made of it and with the bytes it was.
//
//   node backend.js 127.0.0.1:50051
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const definition = loader.loadSync("library.proto", { includeDirs: [here("."), here("node_modules/protobufjs")] });
const service = definition["crossgate.test.library.v1.Library"];

const handlers = {};
for (const [name, method] of Object.entries(service)) {
  const decode = method.requestDeserialize;
  method.requestDeserialize = (wire) => ({ wire, request: decode(wire) });
  handlers[name] = ({ request: { wire, request } }, reply) => reply(null, { wire, request: JSON.stringify(request) });
}

const server = new grpc.Server();
server.addService(service, handlers);
server.bindAsync(process.argv[2], grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
