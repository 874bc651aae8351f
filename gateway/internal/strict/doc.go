// Package strict holds the requests of HTTP/1.1 connections to the letter of RFC 9112 where net/http is lenient: what two
// recipients could take for different requests is refused before anybody routes it, because a proxy in front may have
// read it the other way (request smuggling).
//
// A [Conn] watches the bytes as net/http reads them. It follows where each request ends, and spoils the first line that
// breaks a rule, so that net/http itself refuses the request with 400, in its turn among pipelined ones, and closes the
// connection. Nothing is buffered or copied but lines that come in several reads.
//
// Refused are: lines that end with LF alone, or have a CR within (section 2.2); folded field lines (5.2); space before the
// colon of a field (5.1); Content-Length together with Transfer-Encoding, either of them twice, or in a form other than
// digits (6.1, 6.3); Transfer-Encoding in HTTP/1.0 (6.1); a target in absolute form for another host than the Host field
// says (3.2.2); and chunks whose lines are not what section 7.1 says.
package strict
