package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// keyCommand makes API keys as the configuration, a file of keys and Redis have them: by their SHA-256.
func keyCommand() *cobra.Command {
	var hash bool
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make an API key and print it with its SHA-256, or hash one from standard input",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// At least 256 random bits: at rest a fast hash is enough then.
			key := "cgk_" + rand.Text() + rand.Text()
			if hash {
				line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
				if key = strings.TrimRight(line, "\r\n"); key == "" {
					return errors.Join(errors.New("expected a key on standard input"), err)
				}
			} else if _, err := fmt.Fprintf(cmd.OutOrStdout(), "key:    %s\n", key); err != nil {
				return err
			}
			sum := sha256.Sum256([]byte(key))
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "sha256: %s\n", hex.EncodeToString(sum[:]))
			return err
		},
	}
	cmd.Flags().BoolVar(&hash, "hash", false, "read the key from standard input")
	return cmd
}
