// Package client has the browser client of the WebSocket bridge, crossgate.js, so that a gateway can serve it. The client is
// an ES module of one file, and js is the npm package of it. It never has a build step: what is there is what is served.
//
// [Module] is all there is to know.
package client
