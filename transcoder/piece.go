package transcoder

import "sync"

// Piece is what is read at once of a body that is passed on as it comes.
type Piece [32 << 10]byte

var pieces = sync.Pool{New: func() any { return new(Piece) }}

// NewPiece returns a piece with anything in it. Release it once nothing reads it any more.
func NewPiece() *Piece { return pieces.Get().(*Piece) }

// Release gives p up.
func (p *Piece) Release() { pieces.Put(p) }
