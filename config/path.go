package config

import "path/filepath"

// Path is a file name. A relative one is relative to the file it is written in; Load makes it absolute.
type Path string

func parsePath(s, folder string) Path {
	if filepath.IsAbs(s) {
		return Path(filepath.Clean(s))
	}
	return Path(filepath.Join(folder, s))
}
