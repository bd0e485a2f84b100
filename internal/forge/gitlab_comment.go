package forge

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/xanzy/go-gitlab"
)

// readComment reads a note below its merge request. What GitLab itself wrote does not count as a comment.
func (r gitlabClient) readComment(ctx context.Context, repository string, number int, id string) (Comment, error) {
	note, err := strconv.Atoi(id)
	if err != nil {
		return Comment{}, notAComment(id)
	}
	found, _, err := r.client.Notes.GetMergeRequestNote(repository, number, note, gitlab.WithContext(ctx))
	switch {
	case err != nil:
		return Comment{}, err
	case found == nil:
		return Comment{}, errNull
	case found.System || found.NoteableType != "" && found.NoteableType != "MergeRequest":
		return Comment{}, notAComment(id)
	}
	at := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return *t
	}
	return Comment{
		AuthorID: strconv.Itoa(found.Author.ID), Author: found.Author.Username, Number: cmp.Or(found.NoteableIID, number),
		Text: found.Body, Edited: edited(at(found.CreatedAt), at(found.UpdatedAt)),
	}, nil
}

// react: of an emoji that is there already GitLab says 404, as of a note that is gone (gitlabhq
// lib/api/award_emoji.rb), and only its text tells them apart.
func (r gitlabClient) react(ctx context.Context, repository string, number int, id string) (bool, error) {
	note, err := strconv.Atoi(id)
	if err != nil {
		return false, notAComment(id)
	}
	err = r.renamed(ctx, repository, func(project string) error {
		_, _, err := r.client.AwardEmoji.CreateMergeRequestAwardEmojiOnNote(project, number, note, &gitlab.CreateAwardEmojiOptions{Name: "thumbsup"}, gitlab.WithContext(ctx))
		return err
	})
	if e := failure(err); e.NotFound() && strings.Contains(e.said, "already been taken") {
		return true, nil
	}
	return true, err
}
