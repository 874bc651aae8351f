// Package servertls is TLS at a listener: certificates chosen by the name that a client asks for, from files that are read
// again or from an ACME authority, client certificates with revocation lists, and a listener that hands net/http
// connections whose handshake is done.
package servertls
