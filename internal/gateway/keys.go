package gateway

import (
	"time"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/roster"
	"github.com/keycycler/keycycler/rotator"
)

// newRoster returns a roster of the keys, of which requests choose as the config says.
func (g *Gateway) newRoster(set *keyset.Set) (*roster.Roster, error) {
	options := []rotator.Option{rotator.WithJournal(g.Journal), rotator.WithWake(g.room.Wake)}
	switch {
	case g.First:
		options = append(options, rotator.WithFirst())
	case !g.Random:
		options = append(options, rotator.WithTurns())
	}
	if g.Hash != "" || g.Sessions {
		options = append(options, rotator.WithAffinity())
	}
	if g.Limit != nil {
		options = append(options, rotator.WithLimit(*g.Limit))
	}
	return roster.New(set, roster.Config{Provider: g.Provider, Auth: g.Auth, KeepHeaders: g.KeepHeaders, State: g.State, Options: options})
}

// reloadKeys reads the keys again and, if they are others, sends new requests to
// them. Requests under way stay with the keys they have; cooldowns stay where they
// are. A set of keys that is bad changes nothing.
func (g *Gateway) reloadKeys() error {
	set, err := g.Keys.Load()
	if err != nil {
		return err
	}
	old := g.roster.Load()
	added, removed := roster.Compare(old.Pool, set.Keys)
	same := added == 0 && removed == 0 && old.Equips(set)
	if same && old.Stands(set.Origins) {
		return nil
	}
	next, err := g.newRoster(set)
	if err != nil {
		return err
	}
	g.roster.Store(next)
	g.room.Wake()
	old.Pool.Close(time.Now())
	if same { // and stand at other lines
		return nil
	}
	g.Logger.Info("keys have changed", zap.Int("keys", len(set.Keys)), zap.Int("added", added), zap.Int("removed", removed))
	return nil
}
