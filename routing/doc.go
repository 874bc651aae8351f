// Package routing finds, for the host, method, path and headers of a request, the one rule that is meant: a pure
// function, compiled once, without I/O.
//
// A path is matched segment by segment in a trie, so that the cost depends on the path's length and not on the number
// of rules. Where several rules match, the most specific one is meant, whatever order they were given in:
//
//  1. an exact host before *.example.com, a longer such suffix before a shorter one, any host last;
//  2. a template with the path's verb (":cancel") before one without;
//  3. segment by segment from the left: a literal before *, * before **, ** before what follows a path prefix;
//  4. more header conditions before fewer, then more exact values before any value ("*");
//  5. a rule for the method before a rule for any method. A rule for GET serves HEAD too, after one for HEAD itself.
//
// A rule that does not take the method or whose headers do not hold is passed over for the next most specific one.
// Two rules that no request could tell apart are refused by [Compile].
//
// Types to know: [Template] is a parsed path, [Rule] is what goes in, [Table] is what answers.
package routing
