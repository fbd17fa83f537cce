package pgstore_test

import (
	"testing"

	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
)

func open(t *testing.T) storetest.Backend {
	t.Helper()
	env := testenv.Postgres(t)
	storetest.Migrate(t, env.Pool)
	clock := storetest.NewClock()
	b, err := pgstore.New(env.Pool, pgstore.Options{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return storetest.Backend{Blocks: b, Now: clock.Now, Reach: clock.Reach, Movable: true}
}

func TestBlocks(t *testing.T) { storetest.Blocks(t, open) }

func TestDurable(t *testing.T) {
	t.Parallel()
	storetest.Durable(t, open)
}

func TestBlocksModel(t *testing.T) {
	t.Parallel()
	storetest.Model(t, open)
}
