// Package auth finds out who a caller is and whether that identity may use a route.
//
// [Compile] makes [Providers] of a configuration: signed tokens (RFC 7519) with keys from a secret, a file or a JSON Web
// Key Set that is fetched and kept fresh, and API keys. [Providers.Policy] compiles what one route asks for; a [Policy]
// turns credentials into an [Identity] and allows or denies it. A verified token is remembered for a while, so that its
// signature is not checked again for each request. [Rules] decide by expressions in CEL, and [External] asks an authorisation
// service.
//
// The package does not know which protocol a request came by: credentials come through a [Carrier].
package auth
