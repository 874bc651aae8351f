package conformance

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// forOlderLibraries changes an ELF program for 64 bits in place so that it starts where the C and C++ libraries lack some versions. The
// versions become weak; a symbol of them loses its version, becomes weak too, and __isoc23_strtol and its kin become the strtol that
// all versions of the library have. That suffices for the runner, which uses nothing else of them.
func forOlderLibraries(program []byte, versions ...string) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	symbols, strs := f.SectionByType(elf.SHT_DYNSYM), f.Section(".dynstr")
	needs, indexes := f.SectionByType(elf.SHT_GNU_VERNEED), f.SectionByType(elf.SHT_GNU_VERSYM)
	if symbols == nil || strs == nil || needs == nil || indexes == nil || f.ByteOrder != binary.LittleEndian {
		return fmt.Errorf("no dynamic symbols with versions")
	}
	name := func(at uint32) string {
		s, _, _ := bytes.Cut(program[strs.Offset+uint64(at):], []byte{0})
		return string(s)
	}
	le := binary.LittleEndian
	const weakVersion, global = 2, 1
	var missing []uint16
	// Lists of lists, each item with its distance to the next: Elf64_Verneed and in it Elf64_Vernaux.
	for need := needs.Offset; ; {
		entry := need + uint64(le.Uint32(program[need+8:]))
		for {
			if slices.Contains(versions, name(le.Uint32(program[entry+8:]))) {
				le.PutUint16(program[entry+4:], le.Uint16(program[entry+4:])|weakVersion)
				missing = append(missing, le.Uint16(program[entry+6:]))
			}
			next := le.Uint32(program[entry+12:])
			if next == 0 {
				break
			}
			entry += uint64(next)
		}
		next := le.Uint32(program[need+12:])
		if next == 0 {
			break
		}
		need += uint64(next)
	}
	for i := range symbols.Size / elf.Sym64Size {
		index := program[indexes.Offset+2*i:]
		if !slices.Contains(missing, le.Uint16(index)&0x7fff) {
			continue
		}
		le.PutUint16(index, global)
		symbol := program[symbols.Offset+elf.Sym64Size*i:]
		if at := le.Uint32(symbol); strings.HasPrefix(name(at), "__isoc23_") {
			le.PutUint32(symbol, at+uint32(len("__isoc23_")))
		} else {
			symbol[4] = elf.ST_INFO(elf.STB_WEAK, elf.ST_TYPE(symbol[4]))
		}
	}
	return nil
}
