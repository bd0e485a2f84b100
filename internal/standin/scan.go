package standin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-enry/go-enry/v2"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// severity is CodeArts Check's defect_level (specs/codearts-check.md 1.11).
type severity int

const (
	critical severity = iota
	major
	minor
	suggestion
)

// counts holds one number for each severity.
type counts [4]int

func countBySeverity(defects []defect) counts {
	var c counts
	for _, d := range defects {
		c[d.Severity]++
	}
	return c
}

// defect is one finding. Its ID is the same as long as the same finding stands
// on the same text of the same file, wherever in the file that is.
type defect struct {
	ID       string
	Checker  string
	Rule     string
	Severity severity
	Path     string
	Line     int
	Message  string
	// Content is the text of the line, with secrets blanked out.
	Content string
	Fix     string
}

// report is what a scan of one commit found. It is not changed once made.
type report struct {
	Commit  string
	Defects []defect
	Lines   lineCounts
	Files   int
}

const (
	// fileLimit is the size of a file that is still scanned.
	fileLimit = 1 << 20
	// filesLimit ends the scan of a repository with more files.
	filesLimit = 20000
	// defectsLimit ends a scan that finds more, as the service does with
	// CC.00070400.500 (specs/codearts-check.md 5.2).
	defectsLimit = 300000
)

// scanCommit scans the files of a commit; only: those in that set, nil: all.
// Vendored, generated and binary files are left out. The result depends on
// nothing but the commit.
func scanCommit(ctx context.Context, objects storer.EncodedObjectStorer, commit plumbing.Hash, only map[string]bool) (*report, error) {
	c, err := object.GetCommit(objects, commit)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", commit, err)
	}
	files, err := c.Files()
	if err != nil {
		return nil, fmt.Errorf("read tree of %s: %w", commit, err)
	}
	defer files.Close()

	found := &report{Commit: commit.String()}
	for {
		file, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read files of %s: %w", commit, err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if only != nil && !only[file.Name] || file.Mode == filemode.Symlink || file.Size > fileLimit || enry.IsVendor(file.Name) {
			continue
		}
		text, err := file.Contents()
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", file.Name, commit, err)
		}
		if err := found.scanFile(ctx, file.Name, []byte(text)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found.Defects, compareDefects)
	return found, nil
}

func compareDefects(a, b defect) int {
	if d := int(a.Severity) - int(b.Severity); d != 0 {
		return d
	}
	if d := strings.Compare(a.Path, b.Path); d != 0 {
		return d
	}
	if d := a.Line - b.Line; d != 0 {
		return d
	}
	return strings.Compare(a.ID, b.ID)
}

// scanFile adds one file to the report.
func (r *report) scanFile(ctx context.Context, path string, text []byte) error {
	if enry.IsBinary(text) || enry.IsGenerated(path, text) {
		return nil
	}
	language := enry.GetLanguage(path, text)
	r.Lines.add(countLines(language, text))
	if r.Files++; r.Files > filesLimit {
		return fmt.Errorf("the repository has more than %d files", filesLimit)
	}
	defects, err := scanText(ctx, path, language, text)
	if err != nil {
		return err
	}
	occurrence := map[string]int{}
	for _, d := range defects {
		identity := strings.Join([]string{d.Rule, path, d.Message, strings.TrimSpace(d.Content)}, "\x00")
		occurrence[identity]++
		d.ID = stableID("defect", identity, strconv.Itoa(occurrence[identity]))
		d.Path = path
		r.Defects = append(r.Defects, d)
	}
	if len(r.Defects) > defectsLimit {
		return fmt.Errorf("CC.00070400.500: more than %d defects", defectsLimit)
	}
	return nil
}

// stableID returns 32 hex digits that depend on the parts alone.
func stableID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}
