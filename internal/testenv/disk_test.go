package testenv

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestFullDisk fills the disk under a server, in both ways there are: it takes no more rows than
// fit in what it has, keeps what was committed, and takes more once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, unreal := range []bool{false, true} {
		t.Run(fmt.Sprintf("limit=%t", unreal), func(t *testing.T) {
			t.Parallel()
			e := privatePostgres(t, &disk{unreal: unreal})
			insert := "INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 100)"
			if err := execute(e.URL, "CREATE TABLE t (v text)"); err != nil {
				t.Fatal(err)
			}
			if err := e.FillDisk(); err != nil {
				t.Fatal(err)
			}
			kept := 0
			for execute(e.URL, insert) == nil {
				if kept += 100; kept > 100_000 {
					t.Fatal("it takes rows though the disk is full")
				}
			}
			if err := e.FreeDisk(); err != nil {
				t.Fatal(err)
			}
			Eventually(t, startTimeout, func() error { // it may have ended, or be recovering
				if err := e.Restart(); err != nil {
					return err
				}
				return execute(e.URL, insert)
			})
			var n int
			if err := e.Pool.QueryRow(context.Background(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != kept+100 {
				t.Fatalf("%d rows (%v), want %d", n, err, kept+100)
			}
		})
	}
}

// TestStepClock has a server's clock go back and forth; what it starts with stays when it is
// started again.
func TestStepClock(t *testing.T) {
	t.Parallel()
	e := PrivateRedisWithClock(t)
	ctx := context.Background()
	begin, err := e.Client.Time(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, minutes := range []int{-5, 5, 0} {
		if err := e.StepClock(time.Duration(minutes) * time.Minute); err != nil {
			t.Fatal(err)
		}
		e.Restart()
		got, err := e.Client.Time(ctx).Result()
		if off := got.Sub(begin).Minutes() - float64(minutes); err != nil || off < -1 || off > 4 {
			t.Fatalf("the clock shows %s (%v), %d minutes off %s", got, err, minutes, begin)
		}
	}
}
