package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/gatewright/gatewright/internal/standin"
)

// journalSize is how many calls the stand-in remembers between two reads.
const journalSize = 200_000

// Journal is what the stand-in was asked to do, by its own count.
type Journal struct {
	endpoint string
	last     int64
	acted    []standin.Call
	refused  []standin.Call
}

// Read takes over what the stand-in has noted since the last Read. It fails when
// the stand-in had to drop calls meanwhile, because then nothing could be judged.
func (j *Journal) Read(ctx context.Context) error {
	body, err := get(ctx, j.endpoint+"/standin/calls?after="+strconv.FormatInt(j.last, 10))
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	defer body.Close()
	var calls []standin.Call
	if err := json.NewDecoder(body).Decode(&calls); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	for _, call := range calls {
		if call.Seq != j.last+1 {
			return fmt.Errorf("read journal: calls %d to %d are lost", j.last+1, call.Seq-1)
		}
		j.last = call.Seq
		if call.Acted {
			j.acted = append(j.acted, call)
		} else if call.Operation == "operate_pipeline" {
			j.refused = append(j.refused, call)
		}
	}
	return nil
}

// Acted are the calls that changed something at the services, in their order.
func (j *Journal) Acted() []standin.Call { return j.acted }

// Refused are the actions on pipelines that the services refused, in their order.
func (j *Journal) Refused() []standin.Call { return j.refused }

// Calls is how many calls there were.
func (j *Journal) Calls() int64 { return j.last }
