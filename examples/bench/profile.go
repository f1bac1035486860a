package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profileSeconds is how long a profile is taken.
const profileSeconds = 5

// profile takes a CPU profile of each subject's gateway, bare Caddy once, while it is
// driven.
func (r *rig) profile(dir string, rate float64) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for i, s := range r.subjects {
		if s.name == againName {
			continue
		}
		profile, err := r.profileOf(i, rate)
		if err != nil {
			return fmt.Errorf("profile of %s: %w", s.name, err)
		}
		name := r.scenario.name + "." + strings.ReplaceAll(strings.ReplaceAll(s.name, ",", ""), " ", "-") + ".pprof"
		if err := os.WriteFile(filepath.Join(dir, name), profile, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) profileOf(i int, rate float64) (profile []byte, err error) {
	taken := make(chan error, 1)
	go func() {
		var err error
		profile, err = r.gateways[r.subjects[i].gateway].admin.profile(r.lab.ctx, profileSeconds)
		taken <- err
	}()
	if _, err = r.slice(i, profileSeconds*time.Second, rate); err != nil {
		return nil, err
	}
	return profile, <-taken
}
